;; Asks for a host function that its manifest does not name.
(module
  (import "sigil_v1" "canon_read" (func $read (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (drop (call $read (i32.const 0) (i32.const 0)))))
