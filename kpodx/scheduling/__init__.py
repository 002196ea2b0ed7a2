"""The arithmetic of the schedule (equations 8-13), which two phases share: numpy only, no settings, no files."""
