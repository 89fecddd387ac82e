"""Pictures and sound: photos, motion, encoding; no vendor, no engine."""
