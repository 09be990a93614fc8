//! Every operation of a story failing, in every way.
