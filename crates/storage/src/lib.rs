//! quorate storage
