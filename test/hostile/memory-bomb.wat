;; Takes all the memory it can get, a page at a time, and touches each page.
(module
  (memory (export "memory") 1)
  (func (export "_start") (local $page i32)
    (loop $on
      (local.set $page (memory.grow (i32.const 1)))
      (if (i32.ge_s (local.get $page) (i32.const 0))
        (then (i32.store (i32.mul (local.get $page) (i32.const 65536)) (i32.const 1))))
      (br $on))))
