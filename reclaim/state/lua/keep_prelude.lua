-- What a script begins with where entries stay in the stream: the functions of delete_prelude.lua, which do nothing here.

local looks = 0
local function look_at_groups() end
local function needed_elsewhere() return false end
local function delete() end
