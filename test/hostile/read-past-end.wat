;; Reads its input to the end, then a thousand times more, then into memory that it does not have. Reports how many bytes came
;; before the end, how many after it, and what the reads outside its memory gave.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $read (param $at i32) (param $bytes i32) (result i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $bytes))
    (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.load (i32.const 8)))
  (func (export "_start") (local $before i32) (local $after i32) (local $got i32) (local $left i32)
    (loop $more
      (local.set $got (call $read (i32.const 1024) (i32.const 512)))
      (local.set $before (i32.add (local.get $before) (local.get $got)))
      (br_if $more (local.get $got)))
    (local.set $left (i32.const 1000))
    (loop $again
      (local.set $after (i32.add (local.get $after) (call $read (i32.const 1024) (i32.const 512))))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (local.get $left)))
    (i32.store (i32.const 64) (local.get $before))
    (i32.store (i32.const 68) (local.get $after))
    ;; A buffer that ends past the memory; a list of buffers past it; a result past it; a list longer than any memory.
    (i32.store (i32.const 0) (i32.const 65000))
    (i32.store (i32.const 4) (i32.const 1000))
    (i32.store (i32.const 72) (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 76) (call $fd_read (i32.const 0) (i32.const 65534) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.const 1))
    (i32.store (i32.const 80) (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 65533)))
    (i32.store (i32.const 84) (call $fd_read (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 8)))
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 24))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
