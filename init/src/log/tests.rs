//! Of those parts that the fuzzer has too, and which hold no tests for that.

mod form;
mod lines;
