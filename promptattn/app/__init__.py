"""The app: a page in the browser on which prompts are written, weighed, swept and compared."""
