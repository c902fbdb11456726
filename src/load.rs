//! Policy files from disk, and whether they may be believed.
