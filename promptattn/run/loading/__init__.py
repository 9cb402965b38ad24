"""Getting a pipeline ready: from a preset, a folder or the hub, on a device, with a scheduler."""
