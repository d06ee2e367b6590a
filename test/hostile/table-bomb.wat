;; A table that grows without end.
(module
  (memory (export "memory") 1)
  (table $t 0 externref)
  (func (export "_start")
    (loop $on
      (drop (table.grow $t (ref.null extern) (i32.const 4096)))
      (br $on))))
