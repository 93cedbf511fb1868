"""What a model is given (documents, batches, tokens), and what it must offer."""
