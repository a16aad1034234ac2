//! Real processes on loopback: the main job, enrolment, presence, jobs under kill -9, isolation, the reactor.

mod crash;
mod enrolment;
mod isolation;
mod main_job;
mod reactor;
