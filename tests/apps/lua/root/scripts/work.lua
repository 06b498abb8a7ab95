-- Work for the memory allocator and the processor.
local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
print("fib", fib(24))

local sieve, count = {}, 0
for i = 2, 200000 do
    if not sieve[i] then
        count = count + 1
        for j = i * i, 200000, i do sieve[j] = true end
    end
end
print("primes", count)

local strings, total = {}, 0
for round = 1, 20 do
    for i = 1, 5000 do strings[i] = ("%d:%d"):format(round, i) .. ("x"):rep(i % 50) end
    for i = 1, 5000 do total = total + #strings[i] end
end
print("strings", total)

local function queens(n, row, columns, up, down)
    if row > n then return 1 end
    local found = 0
    for c = 1, n do
        if not (columns[c] or up[row + c] or down[row - c]) then
            columns[c], up[row + c], down[row - c] = true, true, true
            found = found + queens(n, row + 1, columns, up, down)
            columns[c], up[row + c], down[row - c] = nil, nil, nil
        end
    end
    return found
end
print("queens", queens(7, 1, {}, {}, {}))

local function depth(n) return n == 0 and 0 or 1 + depth(n - 1) end
print("depth", depth(15000))
print("too deep", pcall(function() local function f() return f() + 1 end return f() end))

local buffer = {}
for i = 1, 300000 do buffer[#buffer + 1] = (i * 7919) % 1000003 end
table.sort(buffer)
local digest = 0
for i = 1, #buffer, 1000 do digest = (digest * 31 + buffer[i]) % 2147483647 end
print("sorted", digest)
print("float", string.format("%.12f", math.sin(1) + math.exp(0.5) + math.sqrt(2) + math.log(10)))
collectgarbage()
print("memory is bounded", collectgarbage("count") < 64 * 1024)
