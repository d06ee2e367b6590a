;; Watches its clock while it works, to see how long its neighbours take. Reports how often the clock moved in three million
;; looks, or in as many as fit into 200 of its milliseconds, and the shortest step it made, in nanoseconds.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func $now (result i64)
    (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 128)))
    (i64.load (i32.const 128)))
  (func (export "_start")
    (local $left i32) (local $moved i32) (local $start i64) (local $last i64) (local $now i64) (local $least i64)
    (local.set $left (i32.const 3000000))
    (local.set $least (i64.const 0x7fffffffffffffff))
    (local.set $start (call $now))
    (local.set $last (local.get $start))
    (block $enough
      (loop $look
        (local.set $now (call $now))
        (if (i64.ne (local.get $now) (local.get $last))
          (then
            (local.set $moved (i32.add (local.get $moved) (i32.const 1)))
            (if (i64.lt_s (i64.sub (local.get $now) (local.get $last)) (local.get $least))
              (then (local.set $least (i64.sub (local.get $now) (local.get $last)))))
            (local.set $last (local.get $now))))
        (br_if $enough (i64.gt_s (i64.sub (local.get $now) (local.get $start)) (i64.const 200000000)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $look (local.get $left))))
    (i32.store (i32.const 64) (local.get $moved))
    (i64.store (i32.const 68) (local.get $least))
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 12))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
