-- An error that nobody catches: a traceback on standard error and status 1.
print("about to fail")
local function inner() error("on purpose") end
local function outer() inner() end
outer()
