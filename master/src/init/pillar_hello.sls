# Seen by templates as `pillar.greeting`. Values tagged `!secret` are never shown.
greeting: Hello!
