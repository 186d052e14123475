//! quorate node
