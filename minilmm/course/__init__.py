"""Building the notebooks, and generating, checking and diagnosing the exercises."""

from pathlib import Path


def course_root(part: str) -> Path:
    """The course's folder that holds `part`, such as "exercises": around the working directory, or the package's clone.

    ValueError where there is none: an installed package does not hold the course's files.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).parents[2]):
        if (folder / part).is_dir() and (folder / "notebooks").is_dir() | (folder / "exercises").is_dir():
            return folder
    raise ValueError(f"no {part}/ here or above: run this in a clone of the course")
