;; Asks for its whole memory in random bytes, without end.
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 128)
  (func (export "_start")
    (loop $on
      (drop (call $random (i32.const 0) (i32.const 8388608)))
      (br $on))))
