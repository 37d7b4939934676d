//! The pure parts of the init's own log, which is a program and no library.

#[expect(dead_code, reason = "the init uses the rest")]
#[path = "../../init/src/log/form.rs"]
pub(crate) mod form;
#[expect(dead_code, reason = "the init uses the rest")]
#[path = "../../init/src/log/lines.rs"]
pub(crate) mod lines;
