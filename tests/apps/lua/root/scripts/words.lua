-- Counts words of standard input.
local counts, names = {}, {}
for line in io.lines() do
    for word in line:gmatch("%a+") do
        if not counts[word] then names[#names + 1] = word end
        counts[word] = (counts[word] or 0) + 1
    end
end
table.sort(names)
for _, name in ipairs(names) do print(name, counts[name]) end
print(io.read())
