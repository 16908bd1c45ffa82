"""The doctor: looks at a deployment, running or stopped, changes nothing, and says what to mend."""
