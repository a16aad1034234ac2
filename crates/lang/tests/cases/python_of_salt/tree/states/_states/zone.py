def managed(name): pass
