"""What each part of the system is worth: runs that differ in one part, over several seeds."""
