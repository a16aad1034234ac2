use super::*;
use crate::senses::{Mount, Space, fake::Fake};

/// What a beacon tells of machines that come one after the other, ten minutes apart.
fn told(kind: &str, settings: &Value, machines: &[Fake]) -> Vec<String> {
    let known = resources::beacons::kind(kind).unwrap();
    let settings = Settings::read(known, settings.as_object().unwrap()).unwrap();
    let mut beacon = match maker(kind).unwrap()(&settings, &machines[0]) {
        Ok(beacon) => beacon,
        Err(reason) => return vec![format!("cannot: {reason}")],
    };
    let mut said = Vec::new();
    for (index, machine) in (0..).zip(machines) {
        match beacon.look(Duration::from_mins(index * 10), machine) {
            Ok(signals) => {
                said.extend(signals.into_iter().map(|it| format!("{index} {}", Value::Object(it.0))));
            }
            Err(reason) => said.push(format!("{index} fails: {reason}")),
        }
    }
    said
}

fn with(path: &str, text: &str) -> Fake {
    let mut fake = Fake::default();
    fake.put(path, text);
    fake
}

fn disks(disks: &[(&str, &str, &str, u64)]) -> Fake {
    let mut fake = Fake::default();
    for (device, path, kind, used) in disks {
        fake.mounts.push(Mount {
            device: (*device).to_owned(),
            path: (*path).to_owned(),
            kind: (*kind).to_owned(),
        });
        let space = Space { total: 1000, used: *used, free: 1000 - used, inodes: *used, inodes_free: 0 };
        fake.spaces.insert((*path).to_owned(), space);
    }
    fake
}

#[test]
fn every_kind_that_can_be_set_can_be_made_and_the_other_way_round() {
    let set: Vec<&str> = resources::beacons::kinds().iter().map(|it| it.name).collect();
    let made: Vec<&str> = ALL.iter().map(|it| it.0).collect();
    assert_eq!(made, set);
}

#[test]
fn disks_are_told_each_and_those_on_the_network_are_never_asked() {
    let two = |root, data| disks(&[("/dev/a", "/", "ext4", root), ("/dev/b", "/data", "xfs", data)]);
    let said = told("disk", &json!({}), &[two(950, 100), two(950, 950), two(100, 950)]);
    assert_eq!(
        said,
        [
            r#"0 {"path":"/","percent":95.0,"used":950,"free":50,"total":1000,"state":"on"}"#,
            r#"1 {"path":"/data","percent":95.0,"used":950,"free":50,"total":1000,"state":"on"}"#,
            r#"2 {"path":"/","percent":10.0,"used":100,"free":900,"total":1000,"state":"off"}"#,
        ]
    );
    // Nothing is known of how full the network's is: a look at it would fail.
    let mut network = disks(&[("/dev/a", "/", "ext4", 100)]);
    network.mounts.push(Mount {
        device: "nas:/x".to_owned(),
        path: "/nas".to_owned(),
        kind: "nfs4".to_owned(),
    });
    assert_eq!(told("disk", &json!({}), &[network.clone()]), [] as [&str; 0]);
    let said = told("disk", &json!({"path": ["/", "/nas/deep"]}), &[network]);
    assert!(said[0].contains("is on the network (nfs4)"), "{said:?}");
    let gone = told("disk", &json!({}), &[two(100, 950), disks(&[("/dev/a", "/", "ext4", 100)])]);
    assert!(
        gone[1].contains(r#""path":"/data""#) && gone[1].contains(r#""state":"off","gone":true"#),
        "{gone:?}"
    );
    let twice = disks(&[("/dev/a", "/", "btrfs", 950), ("/dev/a", "/home", "btrfs", 950)]);
    assert_eq!(told("disk", &json!({}), &[twice]).len(), 1, "one device is one file system");
    let free = told("disk", &json!({"measure": "free", "below": 100}), &[two(100, 100), two(950, 100)]);
    assert!(free.len() == 1 && free[0].contains(r#""free":50"#), "{free:?}");
    let inodes = told("inodes", &json!({"path": "/data/x"}), &[two(0, 5)]);
    assert!(inodes.len() == 1 && inodes[0].contains(r#""path":"/data","percent":100.0"#), "{inodes:?}");
}

#[test]
fn memory_swap_load_and_pressure_are_read_as_the_kernel_writes_them() {
    let memory = |free: u64| {
        with("/proc/meminfo", &format!("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable: {free} kB\n"))
    };
    assert_eq!(
        told("memory", &json!({"above": "90%"}), &[memory(500), memory(50)]),
        [r#"1 {"percent":95.0,"used":972800,"free":51200,"total":1024000,"state":"on"}"#]
    );
    let swap = |total: u64, free: u64| {
        with("/proc/meminfo", &format!("SwapTotal: {total} kB\nSwapFree: {free} kB\n"))
    };
    assert_eq!(told("swap", &json!({}), &[swap(0, 0)]), [] as [&str; 0]);
    assert_eq!(told("swap", &json!({"above": "512KiB"}), &[swap(1024, 513), swap(1024, 512)]).len(), 1);
    let load = |text: &str| with("/proc/loadavg", text);
    assert_eq!(
        told("load", &json!({"over": "1m", "above": 3}), &[load("2.99 9 9 1/2 3"), load("3.00 0 0 1/2 3")]),
        [r#"1 {"load":3.0,"percent":75.0,"over":"1m","state":"on"}"#]
    );
    assert_eq!(
        told("load", &json!({"above": "200%"}), &[load("0 7.9 0"), load("0 8 0")]).len(),
        1,
        "of four"
    );
    assert!(told("load", &json!({}), &[load("")])[0].contains("something else"));
    let mut pressure =
        with("/proc/pressure/io", "some avg10=60.10 avg60=1 avg300=1 total=1\nfull avg10=5.00 avg60=1\n");
    pressure.put("/proc/pressure/cpu", "some avg10=1.00 avg60=1 avg300=1 total=1\n");
    pressure.put("/proc/pressure/memory", "some avg10=0.00\nfull avg10=0.00\n");
    assert_eq!(
        told("psi", &json!({}), &[pressure.clone()]),
        [r#"0 {"resource":"io","percent":60.1,"kind":"some","state":"on"}"#]
    );
    let full = json!({"kind": "full", "above": "5%"});
    assert_eq!(told("psi", &full, &[pressure]).len(), 1, "of processors it is not said");
    assert!(told("psi", &json!({}), &[Fake::default()])[0].starts_with("cannot: this kernel measures"));
}

#[test]
fn sensors_have_names_and_odd_numbers_are_none() {
    let machine = |first: &str| {
        let mut fake = Fake::default();
        for (path, text) in [
            ("hwmon/hwmon0/name", "coretemp\n"),
            ("hwmon/hwmon0/temp1_input", first),
            ("hwmon/hwmon0/temp1_label", "Package id 0\n"),
            ("hwmon/hwmon0/temp2_input", "-300000\n"),
            ("hwmon/hwmon1/name", "nvme\n"),
            ("hwmon/hwmon1/temp1_input", "91000\n"),
            ("hwmon/hwmon2/name", "nvme\n"),
            ("hwmon/hwmon2/temp1_input", "40000\n"),
            ("hwmon/hwmon2/temp1_max", "80000\n"),
        ] {
            fake.put(&format!("/sys/class/{path}"), text);
        }
        fake
    };
    assert_eq!(
        told("temperature", &json!({}), &[machine("84900"), machine("85000")]),
        [
            r#"0 {"sensor":"nvme temp1","celsius":91.0,"state":"on"}"#,
            r#"1 {"sensor":"coretemp Package id 0","celsius":85.0,"state":"on"}"#,
        ]
    );
    assert_eq!(told("temperature", &json!({"sensor": "#2", "above": 40}), &[machine("0")]).len(), 1);
    let none = told("temperature", &json!({"sensor": "gpu"}), &[machine("0")]);
    assert!(none[0].starts_with("cannot: no sensor"), "{none:?}");
    assert_eq!(told("temperature", &json!({}), &[Fake::default()]), [] as [&str; 0]);
    let mut zone = with("/sys/class/thermal/thermal_zone0/temp", "90000");
    zone.put("/sys/class/thermal/thermal_zone0/type", "cpu-thermal");
    zone.put("/sys/class/thermal/cooling_device0/type", "Fan");
    assert!(told("temperature", &json!({}), &[zone])[0].contains(r#""sensor":"cpu-thermal""#));
}

#[test]
fn a_sensor_that_cannot_be_read_for_a_moment_is_neither_well_nor_gone() {
    let machine = |text: &str| with("/sys/class/hwmon/hwmon0/temp1_input", text);
    let mut other = with("/sys/class/hwmon/hwmon5/temp1_input", "90000");
    other.put("/sys/class/hwmon/hwmon5/name", "hwmon0");
    let bare = Fake::default();
    let machines = [machine("90000"), machine(""), machine("-999999"), machine("91000"), bare.clone(), other];
    assert_eq!(
        told("temperature", &json!({"above": 85}), &machines),
        [
            r#"0 {"sensor":"hwmon0 temp1","celsius":90.0,"state":"on"}"#,
            r#"4 {"sensor":"hwmon0 temp1","celsius":91.0,"state":"off","gone":true}"#,
            r#"5 {"sensor":"hwmon0 temp1","celsius":90.0,"state":"on"}"#,
        ]
    );
}

#[test]
fn what_was_told_goes_over_to_the_one_that_comes_after() {
    let senses = |used| disks(&[("/dev/a", "/", "ext4", used)]);
    let mut process = Fake::default();
    process.put("/proc/1/stat", "1 (init) S 1 7 7 0 -1 4194560 100 0 0 0 1 0 0 0 20 0 1 0 300 9000000 100");
    let mut flagged = Fake::default();
    flagged.put("/run/reboot-required", "");
    let none = Fake::default;
    // Kind, settings, a machine that is not well, one that is, what is told of it then.
    let cases: [(&str, Value, Fake, Fake, &str); 3] = [
        ("disk", json!({"above": "90%"}), senses(950), senses(100), r#""state":"off""#),
        (
            "process",
            json!({"process": "init", "above": 1}),
            process.clone(),
            with("/proc/1/status", ""),
            r#""state":"off""#,
        ),
        ("reboot_required", json!({}), flagged, none(), r#""required":false"#),
    ];
    for (name, settings, ill, well, wanted) in cases {
        let known = resources::beacons::kind(name).unwrap();
        let fresh = || {
            let settings = Settings::read(known, settings.as_object().unwrap()).unwrap();
            maker(name).unwrap()(&settings, &ill).unwrap()
        };
        let mut first = fresh();
        assert_eq!(first.told(), Value::Null, "{name}");
        assert_eq!(first.look(Duration::ZERO, &ill).unwrap().len(), 1, "{name}");
        for (machine, count) in [(&ill, 0), (&well, 1)] {
            let mut next = fresh();
            next.resume(Duration::from_secs(9), &first.told());
            let told = next.look(Duration::from_mins(1), machine).unwrap();
            assert_eq!(told.len(), count, "{name}: {told:?}");
            assert!(told.iter().all(|it| Value::from(it.0.clone()).to_string().contains(wanted)), "{told:?}");
            assert_eq!(next.told().is_null(), count == 1, "{name}");
        }
    }
}
