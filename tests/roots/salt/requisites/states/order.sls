#!yaml
include:
  - base
one:
  test.succeed_without_changes: []
two:
  test.succeed_with_changes:
    - require:
      - test: three
three:
  test.nop: []
four:
  test.fail_without_changes: []
