//! Real processes on loopback: the main job, enrolment, presence, jobs under kill -9, isolation, observers, the reactor, the way out, backups, a boot of everything at once.

mod access;
mod backup;
mod beacons;
mod content;
mod crash;
mod enrolment;
mod hooks;
mod identity;
mod import;
mod intruder;
mod isolation;
mod local;
mod main_job;
mod observers;
mod push;
mod reactions;
mod reactor;
mod rolling;
mod rules;
mod scenario;
mod schedule;
mod stop;
mod undo;
mod watchdog;
mod way_back;
