include: [ nothere ]
a: { file.absent: { name: /a, require: [ { file: bb }, { cmd: b } ] } }
b: { file.absent: { name: /b } }
