//! Real processes on loopback: the main job, enrolment, presence, jobs under kill -9, isolation, observers, the reactor.

mod crash;
mod enrolment;
mod isolation;
mod main_job;
mod observers;
mod reactor;
