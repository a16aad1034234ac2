//! `postgres_group`: groups of a `PostgreSQL` server are roles without login, see `postgres_user`.

pub(crate) use super::postgres_user::GROUP as MODULE;
