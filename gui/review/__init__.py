"""Looking at a recorded session with the same views as at a live one."""
