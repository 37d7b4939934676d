//! The client of init's control socket.
