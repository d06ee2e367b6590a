;; Asks the server for a record with less and less stack left, until there is none.
(module
  (import "sigil_v1" "canon_read" (func $read (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "notes/1")
  (func $deeper (param i64 i64 i64 i64) (result i64)
    (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
    (if (i32.gt_u (global.get $depth) (i32.const 4000))
      (then (if (i32.eqz (i32.and (global.get $depth) (i32.const 31)))
        (then (drop (call $read (i32.const 0) (i32.const 7)))))))
    (i64.add
      (local.get 0)
      (call $deeper (local.get 1) (local.get 2) (local.get 3) (i64.add (local.get 0) (i64.const 1)))))
  (global $depth (mut i32) (i32.const 0))
  (func (export "_start")
    (drop (call $deeper (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)))))
