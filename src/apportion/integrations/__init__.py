"""Plug-ins for trainers, one a file or folder; nothing else imports them, and each imports its trainer only when used."""
