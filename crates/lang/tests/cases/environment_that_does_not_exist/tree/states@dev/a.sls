x: { test.nop: [] }
