let x = ;
const y: string = 5
import z from "./absent"
