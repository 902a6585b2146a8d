"""The facts that each package holds, as pairs of subject and object."""
