//! quorate replica
