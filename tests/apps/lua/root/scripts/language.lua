-- The language and its library, as far as they need no file.
print(_VERSION, arg[1], arg[2], #arg, os.getenv("GREETING"), os.getenv("ABSENT"))
print(1 // 0.0, -1 // 0.0, 0/0 ~= 0/0, 7 // -2, 7 % -3, 3 | 4, 1 << 62, math.maxinteger + 1 == math.mininteger)
print(string.format("%5.2f|%-8s|%08x|%q|%g", math.pi, "left", 48879, "a\nb\0c", 1e100))
print(("hello world"):gsub("o", "0"), ("key=value"):match("(%w+)=(%w+)"), ("abc"):rep(3, "-"))
print(string.pack(">I4s2", 0xdeadbeef, "xy"):byte(1, -1))
print(utf8.char(0x3b1, 0x20ac, 0x1f600), utf8.len("αβγ"), #"αβγ")

local Account = {}
Account.__index = Account
Account.__add = function(a, b) return setmetatable({balance = a.balance + b.balance}, Account) end
Account.__tostring = function(a) return "balance " .. a.balance end
Account.__close = function(a) print("closed " .. tostring(a)) end
local function account(n) return setmetatable({balance = n}, Account) end
do
    local a <close> = account(10)
    print(tostring(a + account(5)))
end

local function producer()
    return coroutine.wrap(function()
        for i = 1, 3 do coroutine.yield(i * i) end
        error({code = 42})
    end)
end
local next_square = producer()
print(next_square(), next_square(), next_square())
local ok, problem = pcall(next_square)
print(ok, type(problem), problem.code)
print(select(2, pcall(error, "plain", 0)), select("#", table.unpack({1, nil, 3}, 1, 3)))
print(xpcall(function() local x = nil; return x.field end, function(m) return "handled: " .. m:match(":(.*)") end))

goto continue
print("never")
::continue::
local words = {"pear", "Apple", "fig", "banana", "cherry"}
table.sort(words, function(a, b) return a:lower() < b:lower() end)
print(table.concat(words, ","), #words, next({}))
local weak = setmetatable({}, {__mode = "k"})
weak[{}] = true
collectgarbage()
print("weak table is empty", next(weak) == nil, load("return 1 +")) 
print(math.type(1), math.type(1.0), math.tointeger("8"), tostring(1e15), 10 // 3, 10 / 2, "10" + 5)
