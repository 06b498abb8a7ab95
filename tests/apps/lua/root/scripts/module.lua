local module = {}
function module.twice(x) return type(x) == "number" and x * 2 or x .. x end
return module
