"""Callbacks of other trainers: each is a module of its trainer's name, with a `LeakCheck`."""
