"""Data sets in the LeRobot layout (parquet and video): written as v3.0, read as v2.1 and v3.0."""
