base:
  os=debian: [s]
