//! The tray's menu, as data: a pure function from state to rows.
