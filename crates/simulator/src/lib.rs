//! quorate simulator
