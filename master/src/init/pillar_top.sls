# Which pillar (values for templates, secrets among them) belongs to whom.
base:
  '*':
    - hello
