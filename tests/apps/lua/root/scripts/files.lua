-- Reading, writing, seeking and renaming files.
local name = "tmp/lua-test"
local out = assert(io.open(name, "w"))
out:setvbuf("full", 512)
for i = 1, 1000 do out:write(i, " ", i * i, "\n") end
print("position", out:seek("cur"), out:seek("set", 0), out:seek("end"))
out:close()

local sum = 0
for n, square in io.lines(name, "n", "n") do sum = sum + square - n end
print("sum", sum)
local file = assert(io.open(name, "r+"))
print(file:read(3), file:read("L"), file:read(0), file:seek("set", 100), file:read(5))
file:seek("set", 2)
file:write("ONE")
file:seek("set")
print(file:read("l"))
print(#file:read("a"), file:read("a"), file:read("l"), file:read(0))
file:close()
print(pcall(file.read, file))

local append = assert(io.open(name, "a"))
append:write("the end\n")
append:close()
local last
for line in io.lines(name) do last = line end
print(last)

print(os.rename(name, name .. ".2"), os.rename(name, name .. ".3"))
print(io.open(name))
print(io.open("tmp", "w"))
print(io.open("scripts/files.lua/below"))
print(os.remove(name .. ".2"), os.remove(name .. ".2"))
local temporary = io.tmpfile()
temporary:write("scratch")
temporary:seek("set")
print(temporary:read("a"))
print(io.type(temporary), io.type(io.stdout), io.type(42))
package.path = "scripts/?.lua"
local module = require("module")
print(module.twice(21), require("module") == module, pcall(require, "no.such.module") == false)
print(loadfile("scripts/module.lua") ~= nil, dofile("scripts/module.lua").twice("ab"))
io.stdout:write("no newline at the end")
