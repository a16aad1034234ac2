#!/usr/bin/env python3
"""Records beside each case what Salt 3008 makes of it: record.py SALT_CALL [CASE...]

A case is a text file with parts: `-- PATH`, then the file. `states/` and `pillar/` are the roots of the environment
base, `NAME/states/` those of another one, `grains.json` adds grains, `minion.yaml` adds to the minion's configuration.
Without a top.sls, the state `a` is assigned to everyone. What comes out is `{"steps": [...], "pillar": {...}}`, or
`{"refused": true}`; nothing of the machine it runs on is in it.
"""
import json, os, pathlib, subprocess, sys, tempfile

HERE = pathlib.Path(__file__).parent
LEFT_OUT = ("order", "__sls_included_from__", "__prerequired__")


def parts(text):
    files, name = {}, None
    for line in text.splitlines(keepends=True):
        if line.startswith("-- "):
            name = line[3:].strip()
            files[name] = ""
        elif name:
            files[name] += line
    return files


def record(salt_call, case):
    files = parts(case.read_text())
    if not any(it.endswith("states/top.sls") for it in files):
        files["states/top.sls"] = "base: {'*': [a]}\n"
    with tempfile.TemporaryDirectory() as root:
        root = pathlib.Path(root)
        environments = {"base": ""}
        for name, text in files.items():
            path = root / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if name.split("/")[0] not in ("states", "pillar") and "/" in name:
                environments[name.split("/")[0]] = name.split("/")[0]
        config = {
            "id": "vm-1", "file_client": "local", "root_dir": str(root / "root"), "cachedir": str(root / "cache"),
            "log_file": str(root / "log"), "pki_dir": str(root / "pki"), "enable_fqdns_grains": False,
            "file_roots": {it: [str(root / "tree" / sub / "states")] for it, sub in environments.items()},
            "pillar_roots": {it: [str(root / "tree" / sub / "pillar")] for it, sub in environments.items()},
            "env_order": list(environments),
            "grains": json.loads(files.get("grains.json", "{}")),
        }
        text = json.dumps(config)[:-1].replace("\n", " ") + "}"
        conf = root / "conf"
        conf.mkdir()
        (conf / "minion").write_text(text)
        (conf / "minion.d").mkdir()
        (conf / "minion.d" / "more.conf").write_text(files.get("minion.yaml", "{}"))

        def call(*args):
            done = subprocess.run(
                [salt_call, "-c", conf, "--local", "-l", "quiet", "--out", "json", *args],
                capture_output=True, text=True)
            return json.loads(done.stdout)["local"]

        steps = call("state.show_lowstate")
        pillar = call("pillar.items", "unmask=True")
        if any(isinstance(it, str) for it in steps):
            made = {"refused": True}
        else:
            made = {"steps": [{k: v for k, v in it.items() if k not in LEFT_OUT} for it in steps]}
        if pillar:
            made["pillar"] = pillar
    case.with_suffix(".json").write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    print(case.stem, "refused" if "refused" in made else len(made["steps"]), *(steps if "refused" in made else []))


if __name__ == "__main__":
    wanted = [HERE / f"{it}.case" for it in sys.argv[2:]] or sorted(HERE.glob("*.case"))
    for case in wanted:
        record(sys.argv[1], case)
