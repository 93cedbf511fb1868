"""`opening`, by its former name, until all callers ask there."""

from minilmm.checkpoints.opening import (  # noqa: F401
    REAL_ENCODERS,
    REAL_LMS,
    load_encoder,
    load_lm,
    of_the_course,
    of_transformers,
    start_qformer,
)
