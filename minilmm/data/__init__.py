"""Real pictures and questions as documents."""
